"""Faults from outside: processes killed, disks full, files damaged or put back from old copies."""
