// The search at the top: finds endpoints from anywhere and opens them in Explore.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { call, isAbort } from "./api";
import { say, t } from "./i18n";
import type { Endpoint } from "./explore/lists";
import { toQuery } from "./explore/search";
import { show } from "./explore/state";

const typing = 150; // ms
const most = 8;

export const searchID = "search";

export function Search() {
  const text = useSignal("");
  const open = useSignal(false);
  const found = useSignal<{ q: string; rows: Endpoint[] } | null>(null);
  const error = useSignal("");
  const cursor = useSignal(-1);
  const root = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const q = text.value.trim();
    cursor.value = -1;
    if (q === "") {
      found.value = null;
      error.value = "";
      return;
    }
    const ctl = new AbortController();
    const timer = setTimeout(async () => {
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
  const take = (i: number) => {
    const q = text.value.trim();
    if (q === "") return;
    const row = rows[i];
    if (row) show({ endpoints: [row.endpoint], q: "", big: "", pane: "" });
    else show({ q, pane: "endpoints" });
    text.value = "";
    open.value = false;
    (document.activeElement as HTMLElement | null)?.blur();
  };
  const options = rows.length + 1; // the last shows all in the list
  const keys = (e: KeyboardEvent) => {
    if (e.key === "ArrowDown") cursor.value = (cursor.value + 1) % options;
    else if (e.key === "ArrowUp") cursor.value = (cursor.value + options - 1) % options;
    else if (e.key === "Enter") take(cursor.value < 0 ? rows.length : cursor.value);
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
        <div id={"found-" + rows.length} role="option" aria-selected={cursor.value === rows.length} class="option all" onClick={() => take(rows.length)}>
          {error.value || (found.value && rows.length === 0 ? t("search.none") : t("search.all", { q: text.value.trim() }))}
        </div>
      </div>
    </div>
  );
}
