"""What the library costs in time and memory, measured on your machine."""
