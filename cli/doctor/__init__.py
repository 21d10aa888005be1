"""`relay doctor`: whether everything that tasks need is in order, tried out one by one."""
