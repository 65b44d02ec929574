"""The command line: `tidegate policy ...`, and the demo."""
