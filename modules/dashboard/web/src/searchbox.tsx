// The search at the top: finds endpoints from anywhere and opens them in Explore, and
// the templates and host groups of a name.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { call, isAbort } from "./api";
import { say, t } from "./i18n";
import type { Endpoint } from "./explore/lists";
import { toQuery } from "./explore/search";
import { show } from "./explore/state";
import { go } from "./router";
import { matcher } from "./text";

const typing = 150; // ms
const most = 8;
const mostPlaces = 5;
const fresh = 60_000; // ms that names of templates and groups are good for

interface Place {
  kind: "templates" | "hostgroups";
  name: string;
  href: string;
}

let places: { at: number; all: Promise<Place[]> } | null = null;

/** Templates and groups, all of them: there are hundreds where endpoints are many thousands. */
function knownPlaces(): Promise<Place[]> {
  if (places && Date.now() - places.at < fresh) return places.all;
  const templates = call<{ templates: { template: { id: number; tpl_name: string } }[] | null }>("/template").then((a) =>
    (a.data.templates ?? []).map(({ template: x }): Place => ({ kind: "templates", name: x.tpl_name, href: "/templates/" + x.id })),
  );
  const groups = call<{ id: number; grp_name: string }[] | null>("/hostgroup").then((a) => (a.data ?? []).map((g): Place => ({ kind: "hostgroups", name: g.grp_name, href: "/hostgroups/" + g.id })));
  // Without them endpoints are found all the same.
  const all = Promise.all([templates.catch(() => []), groups.catch(() => [])]).then((x) => x.flat());
  places = { at: Date.now(), all };
  return all;
}

export const searchID = "search";

export function Search() {
  const text = useSignal("");
  const open = useSignal(false);
  const found = useSignal<{ q: string; rows: Endpoint[] } | null>(null);
  const there = useSignal<Place[]>([]);
  const error = useSignal("");
  const cursor = useSignal(-1);
  const root = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const q = text.value.trim();
    cursor.value = -1;
    if (q === "") {
      found.value = null;
      there.value = [];
      error.value = "";
      return;
    }
    const ctl = new AbortController();
    const timer = setTimeout(async () => {
      void knownPlaces().then((all) => {
        const match = matcher(q);
        if (!ctl.signal.aborted) there.value = all.filter((x) => match([x.name])).slice(0, mostPlaces);
      });
      try {
        const a = await call<Endpoint[]>(`/graph/endpoint?q=${encodeURIComponent(toQuery(q))}&limit=${most}`, { signal: ctl.signal });
        found.value = { q, rows: a.data };
        error.value = "";
      } catch (err) {
        if (!isAbort(err)) error.value = say(err);
      }
    }, typing);
    return () => {
      clearTimeout(timer);
      ctl.abort();
    };
  }, [text.value]);
  useEffect(() => {
    const outside = (e: Event) => {
      if (!root.current?.contains(e.target as Node)) open.value = false;
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, []);

  const rows = found.value?.rows ?? [];
  // Places stand below the endpoints, and do not move when these come.
  const below = found.value || error.value ? there.value : [];
  const take = (i: number) => {
    const q = text.value.trim();
    if (q === "") return;
    const row = rows[i];
    const place = below[i - rows.length];
    if (row) show({ endpoints: [row.endpoint], q: "", big: "", pane: "", thresholds: [] });
    else if (place) go(place.href);
    else show({ q, pane: "endpoints" });
    text.value = "";
    open.value = false;
    (document.activeElement as HTMLElement | null)?.blur();
  };
  const last = rows.length + below.length; // shows all endpoints in the list
  const options = last + 1;
  const keys = (e: KeyboardEvent) => {
    if (e.key === "ArrowDown") cursor.value = (cursor.value + 1) % options;
    else if (e.key === "ArrowUp") cursor.value = cursor.value <= 0 ? options - 1 : cursor.value - 1;
    else if (e.key === "Enter") take(cursor.value < 0 ? last : cursor.value);
    else if (e.key === "Escape") {
      text.value = "";
      open.value = false;
      (e.currentTarget as HTMLElement).blur();
    } else return;
    e.preventDefault();
  };
  const listed = open.value && text.value.trim() !== "";
  return (
    <div class="search" ref={root}>
      <input
        id={searchID} class="field" type="text" value={text.value} placeholder={t("search")} aria-label={t("search")} spellcheck={false} autocomplete="off"
        role="combobox" aria-expanded={listed} aria-controls="search-found" aria-autocomplete="list"
        {...(listed && cursor.value >= 0 ? { "aria-activedescendant": "found-" + cursor.value } : {})}
        onInput={(e: Event) => {
          text.value = (e.currentTarget as HTMLInputElement).value;
          open.value = true;
        }}
        onFocus={() => (open.value = true)} onKeyDown={keys}
      />
      <kbd aria-hidden="true">/</kbd>
      <div id="search-found" class="found" role="listbox" aria-label={t("search")} hidden={!listed}>
        {rows.map((r, i) => (
          <div key={r.endpoint} id={"found-" + i} role="option" aria-selected={i === cursor.value} class="option mono" onClick={() => take(i)}>{r.endpoint}</div>
        ))}
        {below.map((x, i) => (
          <div key={x.href} id={"found-" + (rows.length + i)} role="option" aria-selected={rows.length + i === cursor.value} class="option place" onClick={() => take(rows.length + i)}>
            <span>{x.name}</span> <span class="sub">{t(x.kind)}</span>
          </div>
        ))}
        <div id={"found-" + last} role="option" aria-selected={cursor.value === last} class="option all" onClick={() => take(last)}>
          {error.value || (found.value && rows.length === 0 ? t("search.none") : t("search.all", { q: text.value.trim() }))}
        </div>
      </div>
    </div>
  );
}
