"""The command line, a module a command or family: arguments, help and examples; what they do stands in `cli`."""
