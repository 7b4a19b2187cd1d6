"""Model cards, and what of a run is uploaded to the Hugging Face Hub."""
