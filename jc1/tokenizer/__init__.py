"""Text to token ids and back: SentencePiece, Hugging Face, chat templates."""
