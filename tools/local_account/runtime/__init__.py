"""Scripts for the emulator's interpreter, which has this folder on its path. Nothing here is imported by the tools."""
