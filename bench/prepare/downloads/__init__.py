"""Files of a source, brought in from where its card says: resumed, verified, or asked for."""
