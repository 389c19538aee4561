"""A Ray cluster of two nodes on the loopback interface, the first of which is the head's.

As a script it prints the cluster's address; a line on its standard input names what is to be
killed: `node`, the second one, or `head`. With the argument `alone`, the head has no core. It ends
by itself when its standard input is closed, or after `LONGEST` seconds.
"""

import signal
import sys

from ray.cluster_utils import Cluster

LONGEST = 600
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False}

signal.alarm(LONGEST)
cores = 0 if "alone" in sys.argv else 1
cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": cores})
try:
    second = cluster.add_node(**NODE)
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if line.strip() == "head":
            cluster.head_node.kill_gcs_server()
        else:
            cluster.remove_node(second, allow_graceful=False)
        sys.stdout.write("killed\n")
        sys.stdout.flush()
finally:
    cluster.shutdown()
