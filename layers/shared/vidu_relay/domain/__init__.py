"""What a task is and which changes it may undergo. Pure: time, randomness and the environment are arguments."""
