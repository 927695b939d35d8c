"""Problems: what is learnt, behind one protocol. A new one is a module here and a line in configs.choices."""
