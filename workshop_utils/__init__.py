"""The helper package of the workshop: the modules follow the question on its way to the answer."""
