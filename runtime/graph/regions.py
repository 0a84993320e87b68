"""Pipelined regions: the parts of a job that fail and restart on their own. Pure.

All exchanges are pipelined: a record may be on its way between any two subtasks that an edge connects, so these restart
together. So do all readers of one source, whose splits one enumerator hands out. What is left apart are the connected components
of the JobGraph. Source: Flink's RestartPipelinedRegionFailoverStrategy (whose regions of a job with forward edges alone are finer:
a copy of the pipeline each).
"""

from __future__ import annotations

from .job_graph import JobGraph


def pipelined_regions(job: JobGraph) -> tuple[frozenset[int], ...]:
    """The vertices of each region, in the order of their first vertex; together all vertices of the job, each once."""
    region_of = {vertex.index: vertex.index for vertex in job.vertices}
    for edge in job.edges:
        kept, gone = sorted((region_of[edge.source], region_of[edge.target]))
        region_of = {vertex: kept if region == gone else region for vertex, region in region_of.items()}
    return tuple(
        frozenset(vertex for vertex, found in region_of.items() if found == region)
        for region in sorted(set(region_of.values()))
    )
