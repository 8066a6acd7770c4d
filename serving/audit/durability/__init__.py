"""When an answer may leave: the modes, answers that wait for the disk, and what is said of a log that cannot keep up."""
