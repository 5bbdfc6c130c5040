"""A run that leaves Python: as ONNX graphs (``graphs``), and as a page that any browser runs (``page``)."""
