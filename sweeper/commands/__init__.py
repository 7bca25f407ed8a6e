"""What a user types, one module or package a command."""
