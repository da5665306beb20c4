"""The rules that a store's records keep, a module for each kind; ``verify`` runs them all."""
