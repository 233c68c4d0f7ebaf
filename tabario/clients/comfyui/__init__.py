"""ComfyUI, which paints the pictures."""
