"""`vedette data`: files of rows, before anything is trained on them; `vedette pipeline`: the stages from them to the gate."""
