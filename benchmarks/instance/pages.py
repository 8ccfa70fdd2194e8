"""The queries that Dagster's pages send to the webserver, cut to what depends on the number of shards."""

from collections.abc import Mapping
from typing import Any, Final

from laion_coco_assets.contract.stage_names import StageName

_STATUSES: Final = "... on DefaultPartitionStatuses { materializedPartitions materializingPartitions failedPartitions }"
_ASSETS: Final = [{"path": [stage.value]} for stage in StageName]
_LAST: Final = {"path": [StageName.PUBLISHED.value]}

#: The query and its variables, by what a person opens.
PAGES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "asset graph, all stages (AssetGraphLiveQuery)": (
        """query($assetKeys: [AssetKeyInput!]!) {
            assetNodes(assetKeys: $assetKeys, loadMaterializations: true) {
                id assetMaterializations(limit: 1) { timestamp runId }
                assetChecksOrError { ... on AssetChecks { checks {
                    name executionForLatestMaterialization { id status timestamp evaluation { severity } } } } }
                partitionStats { numMaterialized numMaterializing numPartitions numFailed } }
            assetsLatestInfo(assetKeys: $assetKeys) { id unstartedRunIds inProgressRunIds latestRun { id status } } }""",
        {"assetKeys": _ASSETS},
    ),
    "staleness, all stages (AssetStaleStatusDataQuery)": (
        "query($assetKeys: [AssetKeyInput!]!) { assetNodes(assetKeys: $assetKeys) { id staleStatus staleCauses { reason } } }",
        {"assetKeys": _ASSETS},
    ),
    "an asset's partitions (PartitionHealthQuery)": (
        f"""query($assetKey: AssetKeyInput!) {{ assetNodeOrError(assetKey: $assetKey) {{ ... on AssetNode {{
            id partitionKeysByDimension {{ name type partitionKeys }} assetPartitionStatuses {{ {_STATUSES} }} }} }} }}""",
        {"assetKey": _LAST},
    ),
    "one shard of an asset (AssetPartitionDetailQuery)": (
        """query($assetKey: AssetKeyInput!, $partitionKey: String!) { assetOrError(assetKey: $assetKey) { ... on Asset {
            id definition { id latestRunForPartition(partition: $partitionKey) { id status } }
            assetEventHistory(partitions: [$partitionKey], limit: 1000, eventTypeSelectors: [MATERIALIZATION, OBSERVATION]) {
                results { ... on MaterializationEvent { runId timestamp metadataEntries { label } } } } } } }""",
        {"assetKey": _LAST, "partitionKey": "part-00001"},
    ),
    "an asset's plots and events (100 of them)": (
        """query($assetKey: AssetKeyInput!) { assetOrError(assetKey: $assetKey) { ... on Asset {
            id assetMaterializations(limit: 100) { runId timestamp partition metadataEntries { label } } } } }""",
        {"assetKey": _LAST},
    ),
    "an asset's checks (AssetChecksQuery)": (
        """query($assetKey: AssetKeyInput!) { assetNodeOrError(assetKey: $assetKey) { ... on AssetNode { id
            assetChecksOrError { ... on AssetChecks { checks { name description
                executionForLatestMaterialization { id status evaluation { severity metadataEntries { label } } } } } } } } }""",
        {"assetKey": _LAST},
    ),
    "runs (RunsFeedRootQuery)": (
        """{ runsFeedOrError(limit: 30, view: ROOTS) { ... on RunsFeedConnection { cursor hasMore results {
            id runStatus creationTime startTime endTime tags { key value } jobName } } } }""",
        {},
    ),
    "backfills": (
        "{ partitionBackfillsOrError(limit: 25) { ... on PartitionBackfills { results { id status numPartitions } } } }",
        {},
    ),
}
