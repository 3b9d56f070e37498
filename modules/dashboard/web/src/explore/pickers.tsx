// The two lists of Explore.
import { useRef, useState } from "preact/hooks";
import { now } from "../clock";
import { age, count, t } from "../i18n";
import { Failure } from "../ui/error";
import { List } from "../ui/list";
import {
  counterHosts, counters, countersBusy, countersError, endpointTotal, endpoints, endpointsBusy, endpointsError, endpointsMissing,
  ensureEndpoints, everyEndpoint, known, listCounters, searchEndpoints, unknownEndpoints,
} from "./lists";
import { pastedNames } from "./search";
import { all, click, nothing, toggle, type Choice } from "./selection";
import { show, view } from "./state";
import { maxChosen } from "./view";

interface PickerProps {
  id: string;
  label: string;
  placeholder: string;
  text: string;
  onText(s: string): void;
  onPaste?(names: string[]): void;
  busy: boolean;
  error: unknown;
  onRetry(): void;
  headline: string;
  notes: string[];
  count: number;
  name(i: number): string | undefined;
  meta(i: number): string;
  ensure?(lo: number, hi: number): Promise<void>;
  chosen: string[];
  onChoice(names: string[], replace: boolean): void;
  empty: string;
}

function Picker(p: PickerProps) {
  const choice = useRef<Choice>(nothing);
  choice.current = { ...choice.current, names: p.chosen };
  const chosen = new Set(p.chosen);
  const names = () => Array.from({ length: p.count }, (_, i) => p.name(i) ?? "");
  const take = (c: Choice, replace: boolean) => {
    choice.current = c;
    p.onChoice(c.names.filter((n) => n !== "").slice(0, maxChosen), replace);
  };
  const pick = async (i: number, how: { shift: boolean; ctrl: boolean; move: boolean }) => {
    const c = choice.current;
    if (how.shift && c.anchor !== null && p.ensure) {
      const a = names().indexOf(c.anchor);
      if (a >= 0) await p.ensure(Math.min(a, i), Math.min(Math.max(a, i), Math.min(a, i) + maxChosen) + 1);
    }
    const name = p.name(i);
    if (name === undefined) return;
    // The Space bar toggles, as Ctrl does.
    take(how.ctrl && !how.shift ? toggle(c, name) : click(names(), c, name, how), how.move);
  };
  const takeAll = async () => {
    await p.ensure?.(0, maxChosen);
    take(all(names().slice(0, maxChosen), choice.current), false);
  };
  const more = p.count > 0 && !(p.count <= chosen.size && names().every((n) => chosen.has(n)));
  return (
    <section class="picker" aria-label={p.label}>
      <header>
        <input
          type="search" class="field" value={p.text} placeholder={p.placeholder} aria-label={p.placeholder} spellcheck={false} autocomplete="off"
          onInput={(e: Event) => p.onText((e.currentTarget as HTMLInputElement).value)}
          onPaste={(e: ClipboardEvent) => {
            const pasted = pastedNames(e.clipboardData?.getData("text") ?? "");
            if (pasted.length > 1 && p.onPaste) {
              e.preventDefault();
              p.onPaste(pasted);
            }
          }}
          onKeyDown={(e: KeyboardEvent) => {
            if (e.key === "ArrowDown") {
              e.preventDefault();
              document.getElementById(p.id)?.focus();
            } else if (e.key === "Escape") {
              if (p.text) p.onText("");
              else (e.currentTarget as HTMLElement).blur();
            } else if (e.key === "Enter" && p.count > 0) void pick(0, { shift: false, ctrl: false, move: false });
          }}
        />
        <div class="headline">
          <span>{p.headline}</span>
          {more ? (
            <button type="button" class="link" onClick={() => void takeAll()}>
              {p.count > maxChosen ? t("all.first", { n: maxChosen }) : t("all")}
            </button>
          ) : null}
        </div>
        <div class="headline">
          <span class={chosen.size ? "strong" : ""}>{t("chosen.n", { n: count(chosen.size) })}</span>
          {chosen.size > 0 ? (
            <button type="button" class="link" onClick={() => take(nothing, false)}>
              {t("clear")}
            </button>
          ) : null}
        </div>
        <div class={"bar" + (p.busy ? " on" : "")} aria-hidden="true" />
      </header>
      {p.error ? <Failure error={p.error} onRetry={p.onRetry} /> : null}
      {p.notes.map((n) => <div key={n} class="note">{n}</div>)}
      <List
        id={p.id} label={p.label} count={p.count} name={p.name} meta={p.meta} chosen={chosen} empty={p.busy && p.count === 0 ? t("loading") : p.empty}
        onSight={(lo, hi) => void p.ensure?.(lo, hi)} onPick={(i, how) => void pick(i, how)} onAll={() => void takeAll()} onClear={() => take(nothing, false)}
      />
    </section>
  );
}

export function EndpointPicker() {
  const [strangers, setStrangers] = useState<string[]>([]);
  const v = view.value;
  const total = endpointTotal.value;
  const every = everyEndpoint.value;
  const rows = endpoints.value;
  const at = now.value;
  const notes: string[] = [];
  if (endpointsMissing.value.length > 0) notes.push(t("partial", { nodes: endpointsMissing.value.join(", ") }));
  const lost = [...new Set([...unknownEndpoints.value, ...strangers])];
  if (lost.length > 0) notes.push(t("unknown", { names: lost.join(", ") }));
  const paste = async (names: string[]) => {
    try {
      const there = await known(names.slice(0, maxChosen));
      setStrangers(names.filter((n) => !there.includes(n)));
      show({ endpoints: there });
    } catch (err) {
      endpointsError.value = err;
    }
  };
  return (
    <Picker
      id="endpoint-list" label={t("endpoints")} placeholder={t("endpoints.filter")} text={v.q} onText={(q) => show({ q }, true)} onPaste={(names) => void paste(names)}
      busy={endpointsBusy.value} error={endpointsError.value} onRetry={() => void searchEndpoints()}
      headline={every > total ? t("endpoints.of", { n: count(total), all: count(every) }) : t("endpoints.n", { n: count(total) })}
      notes={notes} count={total} name={(i) => rows[i]?.endpoint} ensure={ensureEndpoints}
      meta={(i) => {
        const r = rows[i];
        return r && r.ts > 0 ? age(at - r.ts) : "";
      }}
      chosen={v.endpoints} onChoice={(names, replace) => show({ endpoints: names, big: "" }, replace)} empty={t("endpoints.none")}
    />
  );
}

export function CounterPicker() {
  const v = view.value;
  const rows = counters.value;
  const hosts = Math.min(v.endpoints.length, counterHosts);
  return (
    <Picker
      id="counter-list" label={t("counters")} placeholder={t("counters.filter")} text={v.m} onText={(m) => show({ m }, true)}
      busy={countersBusy.value} error={countersError.value} onRetry={() => void listCounters()}
      headline={hosts > 1 ? t("counters.n", { n: count(rows.length), hosts }) : t("counters.n1", { n: count(rows.length) })}
      notes={v.endpoints.length > counterHosts ? [t("counters.part", { n: counterHosts })] : []}
      count={rows.length} name={(i) => rows[i]?.counter}
      meta={(i) => {
        const r = rows[i];
        return r && hosts > 1 && r.hosts < hosts ? `${r.hosts}/${hosts}` : "";
      }}
      chosen={v.counters} onChoice={(names, replace) => show({ counters: names, big: "" }, replace)}
      empty={hosts === 0 ? t("counters.first") : v.m ? t("counters.none") : t("counters.empty")}
    />
  );
}
