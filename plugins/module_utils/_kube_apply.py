# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Server-side apply: what it is for, what it changed, and what has to come to pass first."""

from __future__ import annotations

import base64
import copy
import json
import re
import time
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple
from urllib.parse import quote, urlencode

from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import METADATA_LIST, KubeApi, KubeApiError, seconds_since
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import reason as api_reason

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment]

Object = Dict[str, Any]

APPLY = "application/apply-patch+yaml"
# Answers that may be others a moment later: a conflict with a write in between, too many requests, an aggregated API that is not up yet.
PASSING = (409, 429, 500, 502, 503, 504)
# What the API server says of a webhook: that it refused the object, that it could not be asked, and that nobody was there to be asked. The
# certificate of a new one is signed by somebody unknown until its authority is written into the webhook's configuration.
_DENIED = re.compile(r"admission webhook \S+ denied the request")
_WEBHOOK = re.compile(r"failed calling webhook|conversion webhook for .* failed")
_UNREACHABLE = re.compile(
    r"connection refused|connection reset|no endpoints available|service \S+ not found|no such host|no route to host|is unreachable"
    r"|i/o timeout|handshake timeout|deadline exceeded|\bEOF\b|currently unable to handle|signed by unknown authority"
)
# Written by the API server or by controllers, never by the one who applies.
BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# These have to be there before what lies in them or is of their kind.
FIRST = ("Namespace", "CustomResourceDefinition")


class KubeApplyError(Exception):
    """What could not be applied, removed or awaited; the message says what to do."""


class NotYet(Exception):
    """What may be there a moment later; the text is a sentence."""


class NotThere(NotYet):
    """A kind or namespace that does not exist, which in check mode an earlier task would have made."""


def refusal(status: int, said: str, advice: str = "") -> Exception:
    """What to raise for an answer that is none of those wanted: NotYet for one that may be another a moment later."""
    if _DENIED.search(said):
        return KubeApplyError(said + advice)
    if _WEBHOOK.search(said):
        said += " Do the pods of the webhook's Service run? `kubectl get pods,services,endpoints --all-namespaces`."
        return NotYet(said) if _UNREACHABLE.search(said) else KubeApplyError(said)
    if "failed to create typed patch object" in said:
        # 500 is also how a field of a wrong type is refused; one that is not declared may come with a newer CRD
        passes = "not declared in schema" in said
    else:
        passes = status in PASSING or (status == 403 and "being terminated" in said)
    return NotYet(said) if passes else KubeApplyError(said + advice)


class Resource(NamedTuple):
    """Where the objects of a kind are."""

    root: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        inside = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{self.root}{inside}/{self.plural}" + (f"/{quote(name, safe=':')}" if name else "")


# --- objects: no API is asked below


def reason(answer: Any) -> str:
    """What the API server said, to be followed by a full stop."""
    return api_reason(answer).rstrip(". ")


def metadata(item: Object) -> Dict[str, Any]:
    return item.get("metadata") or {}


def title(item: Object) -> str:
    """For messages: Secret kube-system/x, Node w1."""
    names = (metadata(item).get("namespace"), metadata(item).get("name"))
    return f"{item.get('kind')} {'/'.join(str(name) for name in names if name)}"


def identity(item: Object) -> Tuple[str, str, str, str]:
    """The same object has the same identity in every version of its group."""
    group = str(item["apiVersion"]).rpartition("/")[0]
    return group, item["kind"], metadata(item).get("namespace") or "", metadata(item)["name"]


def parse_manifest(text: str) -> List[Object]:
    """The documents of a JSON or YAML text."""
    try:
        found = json.loads(text)
        documents = found if isinstance(found, list) else [found]
    except ValueError:
        if yaml is None:
            raise KubeApplyError(
                "manifest is no JSON, and Python's yaml package is not on this host."
                " Install python3-yaml (python3-pyyaml on the Red Hat family),"
                ' or give the documents in objects: `objects: "{{ text | from_yaml_all }}"`.'
            ) from None
        try:
            # dates, which YAML knows and JSON does not, back to text
            documents = json.loads(json.dumps(list(yaml.safe_load_all(text)), default=lambda value: value.isoformat()))
        except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
            raise KubeApplyError(f"manifest is neither JSON nor YAML: {' '.join(str(error).split())}. Correct it there.") from None
    return [document for document in documents if document is not None]


def flat(objects: Sequence[Any]) -> Iterator[Object]:
    """Each object once; Lists are taken apart. Refuses what is no object."""
    for position, item in enumerate(objects):
        if isinstance(item, dict) and item.get("kind") == "List":
            yield from flat(item.get("items") or [])
            continue
        missing = "apiVersion, kind and metadata.name" if not isinstance(item, dict) else ""
        if not missing and not (isinstance(item.get("metadata") or {}, dict) and metadata(item).get("name")):
            missing = "metadata.name"
        for key in ("kind", "apiVersion"):
            if not missing and not (isinstance(item.get(key), str) and item[key]):
                missing = key
        if missing:
            raise KubeApplyError(f"Number {position + 1} of the objects has no {missing}; an object of Kubernetes is wanted.")
        yield item


def secret_texts(objects: Sequence[Object]) -> Set[str]:
    """Everything that the Secrets among the objects hold, encoded and not."""
    texts: Set[str] = set()
    for item in objects:
        if item["kind"] == "Secret":
            for key in ("data", "stringData"):
                for value in (item.get(key) or {}).values():
                    texts |= both_forms(str(value))
    return texts - {""}


def both_forms(text: str) -> Set[str]:
    """A text with its base64 form, and with what it is the base64 form of."""
    forms = {text, base64.b64encode(text.encode()).decode()}
    try:
        forms.add(base64.b64decode(text, validate=True).decode())
    except ValueError:
        pass
    return forms


def refuse_secrets(objects: Sequence[Object]) -> None:
    for item in objects:
        if item["kind"] == "Secret" and (item.get("data") or item.get("stringData")):
            raise KubeApplyError(
                f"{title(item)} is among the objects with its data, which Ansible writes to the log of this host;"
                " give it in the option secrets, whose data is not logged, and if it is no test value, change it."
            )


def secret(namespace: str, name: str, kind: str, labels: Dict[str, str], data: Dict[str, Any]) -> Object:
    # not stringData: its fields are never owned by who applies it, so that a key that is left out later would stay
    encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in data.items()}
    where = {"namespace": namespace, "name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": where, "data": encoded}


def in_order(objects: Sequence[Object], secrets: Sequence[Object]) -> List[Object]:
    """Namespaces, CRDs and Secrets before all that may need them."""
    first = [item for kind in FIRST for item in objects if item["kind"] == kind]
    return first + list(secrets) + [item for item in objects if item["kind"] not in FIRST]


def plain(item: Optional[Object]) -> Optional[Object]:
    """Without what changes by itself: two of these are equal when nobody's wish changed."""
    if item is None:
        return None
    result = {key: value for key, value in item.items() if key != "status"}
    result["metadata"] = {key: value for key, value in metadata(item).items() if key not in BOOKKEEPING}
    return result


def shown(item: Optional[Object], other: Optional[Object], word: str) -> str:
    """A plain object as a diff may show it; of a Secret only which keys differ."""
    if item is None:
        return ""
    item = copy.deepcopy(item)
    if item.get("kind") == "Secret":
        for key in ("data", "stringData"):
            elsewhere = (other or {}).get(key) or {}
            if item.get(key):
                item[key] = {name: "hidden" if elsewhere.get(name) == value else f"hidden, {word}" for name, value in item[key].items()}
        (metadata(item).get("annotations") or {}).pop(LAST_APPLIED, None)
    return json.dumps(item, indent=2, sort_keys=True) + "\n"


def conflict(item: Object, answer: Any) -> str:
    """Who owns which field, or "" when the conflict is another one."""
    causes = ((answer.get("details") or {}).get("causes") or []) if isinstance(answer, dict) else []
    owned = [f"{cause.get('field')} ({cause.get('message')})" for cause in causes if cause.get("reason") == "FieldManagerConflict"]
    if not owned:
        return ""
    return (
        f"{title(item)} has fields that another manager owns with other values: {', '.join(owned)}."
        " Leave them out of the object, give them the same value, or set force to take them over."
    )


def condition_problem(item: Optional[Object], kind: str, where: str, condition: str, wanted: str) -> str:
    """Why a condition is not as wanted, "" when it is."""
    if item is None:
        return f"{kind} {where} does not exist"
    status = item.get("status") or {}
    for found in status.get("conditions") or []:
        if found.get("type") != condition:
            continue
        old = older(item, found if "observedGeneration" in found else status)
        if old:
            return f"{kind} {where}: {condition} is that of {old}"
        if found.get("status") == wanted:
            return ""
        why = ": ".join(str(found[key]) for key in ("reason", "message") if found.get(key))
        return f"{kind} {where}: {condition} is {found.get('status')}" + (f" ({why})" if why else "")
    return f"{kind} {where} has no condition {condition}"


def field_problem(item: Optional[Object], kind: str, where: str, field: str) -> str:
    """Why a field, such as status.loadBalancer.ingress, is not filled; "" when it is."""
    if item is None:
        return f"{kind} {where} does not exist"
    found: Any = item
    for key in field.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if found in (None, "", [], {}):
        return f"{kind} {where} has no {field}"
    old = older(item, item.get("status") or {})
    return f"{kind} {where}: {field} is that of {old}" if old else ""


def older(item: Object, told: Dict[str, Any]) -> str:
    """What a status is about when its writer has not seen the newest specification, "" when it has or does not say."""
    seen, generation = told.get("observedGeneration"), metadata(item).get("generation")
    behind = isinstance(seen, int) and isinstance(generation, int) and seen < generation
    return f"an older generation ({seen} of {generation})" if behind else ""


def age(item: Object, now: float) -> float:
    """Seconds since an object was made; 0 when that cannot be told."""
    return seconds_since(metadata(item).get("creationTimestamp"), now) or 0


# --- with the API


class Applier:
    """Applies, removes and waits within one deadline; done and diff tell what came of it, also after an error."""

    def __init__(
        self,
        api: KubeApi,
        field_manager: str,
        force: bool = False,
        dry_run: bool = False,
        wait_seconds: float = 300,
        poll_seconds: float = 3,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.api, self.dry_run = api, dry_run
        self.wait_seconds = 0 if dry_run else wait_seconds
        self.poll_seconds = poll_seconds
        self._clock, self._sleep, self._now = clock, sleep, now
        self._begin = clock()
        self._kinds: Dict[str, Dict[str, Resource]] = {}
        query = {"fieldManager": field_manager, "force": "true" if force else "false", **({"dryRun": "All"} if dry_run else {})}
        self._query = "?" + urlencode(query)
        self.done: List[Dict[str, str]] = []
        self.diff: List[Dict[str, str]] = []
        # what was not yet so, each once
        self.waited_for: List[str] = []

    @property
    def changed(self) -> bool:
        return any(entry["change"] != "unchanged" for entry in self.done)

    @property
    def waited(self) -> float:
        return round(self._clock() - self._begin, 1)

    def _patiently(self, attempt: Callable[[], Any]) -> Any:
        while True:
            try:
                return attempt()
            except (NotYet, KubeApiError) as error:
                if self.waited + self.poll_seconds > self.wait_seconds:
                    if isinstance(error, NotThere) and self.dry_run:
                        raise
                    raise KubeApplyError(f"{error} That is so after {self.waited:.0f} seconds.") from error
                if str(error) not in self.waited_for:
                    self.waited_for.append(str(error))
            self._sleep(self.poll_seconds)

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where a kind is served; asked again as long as it is not, because a CRD may bring it at any time."""
        if kind not in self._kinds.get(api_version, {}):
            root = "/api/v1" if api_version == "v1" else f"/apis/{api_version}"
            status, answer = self.api.request("GET", root)
            if status not in (200, 404):
                raise NotYet(f"{self.api.server} answered {status} when it was asked for the kinds of {api_version}: {reason(answer)}.")
            served = answer.get("resources") or [] if status == 200 else []
            self._kinds[api_version] = {
                entry["kind"]: Resource(root, entry["name"], bool(entry["namespaced"])) for entry in served if "/" not in entry["name"]
            }
        if kind not in self._kinds[api_version]:
            raise NotThere(
                f"The API server does not serve kind {kind} of {api_version}."
                f" What installs it? See `kubectl api-resources` and `kubectl get crd`; is the version right?"
            )
        return self._kinds[api_version][kind]

    def _read(self, path: str) -> Optional[Object]:
        status, answer = self.api.request("GET", path)
        if status not in (200, 404):
            raise refusal(status, f"{self.api.server} answered GET {path} with {status}: {reason(answer)}.")
        return answer if status == 200 else None

    def _apply_now(self, item: Object) -> Tuple[Optional[Object], Object]:
        """(before, after)"""
        resource = self.resource(item["apiVersion"], item["kind"])
        namespace = metadata(item).get("namespace") or ""
        if resource.namespaced and not namespace:
            raise KubeApplyError(f"{title(item)} has no metadata.namespace, and objects of its kind live in one; give it.")
        path = resource.path(namespace, metadata(item)["name"])
        before = self._read(path)
        if before and metadata(before).get("deletionTimestamp"):
            raise NotYet(f"{title(item)} is still being removed; see `kubectl get -o yaml` of it for the finalizers that hold it.")
        uid = metadata(item).get("uid")
        if uid and (before is None or metadata(before).get("uid") != uid):
            raise KubeApplyError(
                f"{title(item)} with the uid {uid} does not exist (any more), and an object given with its uid is changed, never made."
                " Read it again, or leave the uid out."
            )
        status, answer = self.api.request("PATCH", path + self._query, item, APPLY)
        if status in (200, 201):
            return before, answer
        said = f"{title(item)} was refused with {status}: {reason(answer)}."
        if status == 404:
            raise NotThere(f"{said} Does its namespace exist?")
        if status == 409 and conflict(item, answer):
            raise KubeApplyError(conflict(item, answer))
        raise refusal(status, said, f" Correct the object; what its kind allows says `kubectl explain {resource.plural}`.")

    def apply(self, item: Object) -> None:
        """Apply one object and note what that changed."""
        try:
            before, after = self._patiently(partial(self._apply_now, item))
        except NotThere:
            before, after = None, item
        old, new = plain(before), plain(after)
        change = "created" if old is None else "unchanged" if old == new else "configured"
        self._note(item, change)
        if change != "unchanged":
            self._note_diff(item, old, new)

    def _note(self, item: Object, change: str) -> None:
        where = metadata(item)
        self.done.append({"kind": item["kind"], "namespace": where.get("namespace") or "", "name": where["name"], "change": change})

    def _note_diff(self, item: Object, old: Optional[Object], new: Optional[Object]) -> None:
        self.diff.append(
            {
                "before_header": title(item),
                "after_header": title(item),
                "before": shown(old, new, "before"),
                "after": shown(new, old, "after"),
            }
        )

    def prune(self, label: str, kinds: Sequence[str], keep: Sequence[Object], namespace: str = "", older_than: float = 0) -> None:
        """Remove the objects of these kinds with the label, but those to keep."""
        kept = {identity(item) for item in keep}
        for name in kinds:
            api_version, dummy, kind = name.rpartition("/")
            if not api_version:
                raise KubeApplyError(f"{name!r} in prune_kinds has no version; write it as apiVersion/kind, such as v1/Secret.")
            try:
                resource = self._found(api_version, kind)
            except NotThere:
                continue
            for found in self._patiently(partial(self._labelled, resource, label, namespace)):
                item = {"apiVersion": api_version, "kind": kind, "metadata": metadata(found)}
                if identity(item) in kept or metadata(item).get("deletionTimestamp") or age(item, self._now()) < older_than:
                    continue
                if not self.dry_run:
                    self._patiently(partial(self._delete_now, resource, item))
                self._note(item, "pruned")
                self._note_diff(item, plain(item), None)

    def _found(self, api_version: str, kind: str) -> Resource:
        # A kind that is not served has nothing to prune: that is not waited for, only an answer is.
        def attempt() -> Any:
            try:
                return self.resource(api_version, kind)
            except NotThere as error:
                return error

        found = self._patiently(attempt)
        if isinstance(found, NotThere):
            raise found
        return found

    def _labelled(self, resource: Resource, label: str, namespace: str) -> List[Object]:
        path = f"{resource.path(namespace)}?{urlencode({'labelSelector': label})}"
        status, answer = self.api.request("GET", path, accept=METADATA_LIST)
        if status != 200:
            raise refusal(status, f"{self.api.server} answered GET {path} with {status}: {reason(answer)}.")
        return answer.get("items") or []

    def _delete_now(self, resource: Resource, item: Object) -> None:
        where = metadata(item)
        # the uid: what has been made anew under the same name since is somebody's wish
        body = {"propagationPolicy": "Background", "preconditions": {"uid": where["uid"]}}
        status, answer = self.api.request("DELETE", resource.path(where.get("namespace") or "", where["name"]), body)
        if status == 409:
            said = f"{title(item)} was made anew while it was to be removed, and was left alone: {reason(answer)}."
            raise KubeApplyError(f"{said} Run it again.")
        if status not in (200, 202, 404):
            raise refusal(status, f"{title(item)} could not be removed, {status}: {reason(answer)}.")

    def wait_for(self, conditions: Sequence[Dict[str, Any]]) -> None:
        """Wait until every condition is as wanted, and every field filled."""

        def problem(wanted: Dict[str, Any]) -> str:
            kind, where = wanted["kind"], "/".join(part for part in (wanted.get("namespace"), wanted["name"]) if part)
            try:
                found = self._read(self.resource(wanted["api_version"], kind).path(wanted.get("namespace") or "", wanted["name"]))
            except NotThere:
                return f"{kind} {where}: kind {kind} of {wanted['api_version']} is not served"
            if wanted.get("field"):
                return field_problem(found, kind, where, wanted["field"])
            text = condition_problem(found, kind, where, wanted["condition"], wanted["status"])
            return f"{text}, wanted is {wanted['condition']} {wanted['status']}" if text else ""

        def attempt() -> None:
            problems = [(text, wanted) for text, wanted in ((problem(wanted), wanted) for wanted in conditions) if text]
            if problems:
                first = problems[0][1]
                inside = f" -n {first['namespace']}" if first.get("namespace") else ""
                said = "; ".join(text for text, dummy in problems)
                raise NotYet(f"{said}. Look at `kubectl{inside} describe {first['kind'].lower()} {first['name']}`.")

        self._patiently(attempt)
