"""How a process runs: devices, other processes, signals, exit codes."""
