"""One module per operator family: a description (`...Spec`) that travels in the JobGraph, and the operator it makes."""
