"""The page Detections of the console."""
