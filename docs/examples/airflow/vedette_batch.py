"""An Airflow DAG: each hour, the hour that has ended is scored, then the behaviour of its hosts goes into the ledger of risks.

Copy it into the folder of DAGs; a worker needs Vedette's environment (or make BashOperator a KubernetesPodOperator of the lifecycle image).
Both tasks may be tried again: what is done is left out."""

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

EVENTS = "{{ var.value.get('vedette_events', '/data/events') }}"
VERDICTS = "{{ var.value.get('vedette_verdicts', '/data/verdicts') }}"
HOUR = "--since {{ data_interval_start | ts }} --until {{ data_interval_end | ts }}"

with DAG(
    dag_id="vedette_batch",
    schedule="15 * * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,  # the output takes one job at a time
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["vedette"],
):
    verdicts = BashOperator(
        task_id="verdicts",
        bash_command=f"vedette batch {EVENTS} {VERDICTS}/flows --model flows --workers 0 {HOUR} --json",
    )
    risks = BashOperator(
        task_id="risks",
        bash_command=f"vedette batch {EVENTS} {VERDICTS}/hosts --model hosts --workers 0 --to-risk {HOUR} --json",
    )
    verdicts >> risks
