// What something is bound to: names that can be taken away, and a choice of more.
import type { ComponentChildren } from "preact";
import { say, t } from "../i18n";
import { Link } from "../frame";
import { valueOf } from "../ui/field";
import { useWrite } from "../write";

interface Named<K> {
  id: K;
  name: string;
}

interface Props<K> {
  there: readonly Named<K>[];
  all: readonly Named<K>[];
  /** What a name leads to: the text before its id, or all of it. */
  href?: string | ((id: K) => string);
  /** What the choice says. */
  label: string;
  /** What stands there without any. */
  empty: string;
  /** That there are none is no warning. */
  quiet?: boolean;
  /** A button of each name beside the one that takes it away. */
  tool?(x: Named<K>): ComponentChildren;
  /** What stands beside the choice of more. */
  children?: ComponentChildren;
  onAdd(id: K): Promise<unknown>;
  onRemove(id: K): Promise<unknown>;
}

export function Bindings<K extends string | number>(p: Props<K>) {
  const w = useWrite();
  const more = p.all.filter((x) => !p.there.some((y) => y.id === x.id)).sort((a, b) => a.name.localeCompare(b.name));
  return (
    <div class="bindings">
      <div class="chips">
        {p.there.map((x) => (
          <span class="chip" key={x.id}>
            {p.href ? <Link href={typeof p.href === "function" ? p.href(x.id) : p.href + x.id} class="plain">{x.name}</Link> : x.name}
            {p.tool?.(x)}
            <button type="button" title={t("remove")} aria-label={`${t("remove")}: ${x.name}`} disabled={w.busy} onClick={() => void w.run(() => p.onRemove(x.id))}>×</button>
          </span>
        ))}
        {p.there.length === 0 && p.empty ? <span class={p.quiet ? "sub" : "warn-text"}>{p.empty}</span> : null}
      </div>
      {more.length > 0 || p.children ? (
        <div class="actions-row">
          {more.length > 0 ? (
            <select
              class="field add" aria-label={p.label} value="" disabled={w.busy}
              onChange={(e: Event) => {
                const found = more.find((x) => String(x.id) === valueOf(e));
                (e.currentTarget as HTMLSelectElement).value = "";
                if (found) void w.run(() => p.onAdd(found.id));
              }}
            >
              <option value="">+ {p.label}</option>
              {more.map((x) => <option key={x.id} value={String(x.id)}>{x.name}</option>)}
            </select>
          ) : null}
          {p.children}
        </div>
      ) : null}
      {w.error ? <div class="failure" role="alert">{say(w.error)}</div> : null}
    </div>
  );
}
