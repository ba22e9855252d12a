"""What goes to the Hugging Face Hub: staged, verified by a stranger's process, described by a card, uploaded."""
