"""What is loaded, how it is loaded and swapped, and how it is warmed up."""
