"""When an answer may leave: the modes, answers that wait for the disk, and the messages about a log that cannot keep up."""
