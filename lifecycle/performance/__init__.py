"""How well a model does once labels are in: precision, recall and F1 by window, with intervals that respect late and selected labels; when
they fall. Pure: arrays in, figures out. Reading the prediction log and the log of labels is the shells' work."""
