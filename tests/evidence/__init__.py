"""What of the paper's claims holds where it can be tried here: studies, questions to them, and a page of answers."""
