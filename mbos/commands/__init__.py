"""What ``mbos <command>`` and ``tools/<command>.py`` do, one file each."""
