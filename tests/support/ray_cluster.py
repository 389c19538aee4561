"""A Ray cluster of two nodes on the loopback interface.

As a script it prints the cluster's address and kills a node on request. It ends by itself when
its standard input is closed, or after `LONGEST` seconds.
"""

import signal
import sys

from ray.cluster_utils import Cluster

LONGEST = 600
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False}

signal.alarm(LONGEST)
cluster = Cluster(initialize_head=True, head_node_args=dict(NODE))
try:
    second = cluster.add_node(**NODE)
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
        sys.stdout.write("killed\n")
        sys.stdout.flush()
finally:
    cluster.shutdown()
