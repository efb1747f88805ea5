"""Commands of ``unlearn-pl`` that are not a Trainer's."""
