"""``hpo mlflow``: MLflow's own pages, on the runs that we mirror into it."""
