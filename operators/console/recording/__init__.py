"""What people do with the console itself, as records of the log of governed acts."""
