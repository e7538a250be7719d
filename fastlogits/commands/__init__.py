"""The commands: a module for each that adds its parser and runs it, and what they share."""
