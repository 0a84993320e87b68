"""The bottom layer: ids, clock, errors, record batches and control elements, types, configuration. Imports no other layer."""
