"""The page on which a visitor drops a clip, or talks to a camera, and sees the prediction."""
