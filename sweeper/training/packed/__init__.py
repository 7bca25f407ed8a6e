"""Members: trials of equal programs, trained as one."""
