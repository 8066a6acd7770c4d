"""An alert in the form that its receiver reads. Pure: a form takes an alert and its options, and returns a document or bytes."""
