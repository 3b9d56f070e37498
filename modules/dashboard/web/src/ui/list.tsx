// A list of any length of which one or many can be chosen. Only the rows in sight
// exist; it is driven by mouse, finger or keys.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { CheckIcon } from "./icons";

export interface ListProps {
  id: string;
  label: string;
  count: number;
  /** The name at a position; undefined while it is not loaded. */
  name(i: number): string | undefined;
  /** What stands at the right end of a row. */
  meta(i: number): string;
  chosen: ReadonlySet<string>;
  /** Rows lo to hi, hi not included, have come into sight. */
  onSight?(lo: number, hi: number): void;
  /** Row i was picked; move says that the keyboard moved there. */
  onPick(i: number, how: { shift: boolean; ctrl: boolean; move: boolean }): void;
  onAll(): void;
  onClear(): void;
  empty: string;
}

const coarse = matchMedia("(pointer: coarse)");

export function List(p: ListProps) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [cursor, setCursor] = useState(-1);
  const [row, setRow] = useState(coarse.matches ? 44 : 30);

  useEffect(() => {
    const change = () => setRow(coarse.matches ? 44 : 30);
    coarse.addEventListener("change", change);
    return () => coarse.removeEventListener("change", change);
  }, []);
  useLayoutEffect(() => {
    const el = box.current as HTMLDivElement;
    const seen = new ResizeObserver(() => setHeight(el.clientHeight));
    seen.observe(el);
    return () => seen.disconnect();
  }, []);

  const lo = Math.max(0, Math.floor(top / row) - 5);
  const hi = Math.min(p.count, Math.ceil((top + height) / row) + 5);
  useEffect(() => p.onSight?.(lo, hi), [lo, hi, p.count]);
  useEffect(() => {
    if (cursor >= p.count) setCursor(p.count - 1);
  }, [p.count]);

  const scrollTo = (i: number) => {
    const el = box.current as HTMLDivElement;
    if (i * row < el.scrollTop) el.scrollTop = i * row;
    else if ((i + 1) * row > el.scrollTop + el.clientHeight) el.scrollTop = (i + 1) * row - el.clientHeight;
  };
  const move = (to: number, e: KeyboardEvent) => {
    const i = Math.max(0, Math.min(p.count - 1, to));
    setCursor(i);
    scrollTo(i);
    if (e.shiftKey) p.onPick(i, { shift: true, ctrl: false, move: true });
  };
  const keys = (e: KeyboardEvent) => {
    if (p.count === 0) return;
    const page = Math.max(1, Math.floor(height / row) - 1);
    switch (e.key) {
      case "ArrowDown": move(cursor + 1, e); break;
      case "ArrowUp": move(cursor - 1, e); break;
      case "PageDown": move(cursor + page, e); break;
      case "PageUp": move(cursor - page, e); break;
      case "Home": move(0, e); break;
      case "End": move(p.count - 1, e); break;
      case " ": if (cursor >= 0) p.onPick(cursor, { shift: e.shiftKey, ctrl: true, move: false }); break;
      case "Enter": if (cursor >= 0) p.onPick(cursor, { shift: false, ctrl: false, move: false }); break;
      case "a":
        if (!e.ctrlKey && !e.metaKey) return;
        p.onAll();
        break;
      case "Escape": p.onClear(); break;
      default: return;
    }
    e.preventDefault();
  };

  const rows = [];
  for (let i = lo; i < hi; i++) {
    const name = p.name(i);
    const on = name !== undefined && p.chosen.has(name);
    rows.push(
      <div
        key={i} id={`${p.id}-${i}`} role="option" aria-selected={on} aria-posinset={i + 1} aria-setsize={p.count} data-name={name}
        class={"row" + (on ? " on" : "") + (i === cursor ? " cursor" : "")} style={{ top: i * row + "px", height: row + "px" }} title={name ?? ""}
        onClick={(e: MouseEvent) => {
          if (name === undefined) return;
          setCursor(i);
          const box = (e.target as HTMLElement).closest(".box") !== null;
          // A finger has no Ctrl: each tap takes one more.
          p.onPick(i, { shift: e.shiftKey, ctrl: e.ctrlKey || e.metaKey || box || coarse.matches, move: false });
        }}
        onMouseDown={(e: MouseEvent) => e.shiftKey && e.preventDefault() /* no text is marked */}
      >
        <span class="box" aria-hidden="true">{on ? <CheckIcon /> : null}</span>
        <span class="name">{name ?? "…"}</span>
        <span class="meta">{p.meta(i)}</span>
      </div>,
    );
  }
  return (
    <div
      ref={box} class="list" aria-label={p.label} tabIndex={0} id={p.id}
      {...(p.count > 0 ? { role: "listbox", "aria-multiselectable": true } : { role: "group" })}
      {...(cursor >= lo && cursor < hi ? { "aria-activedescendant": `${p.id}-${cursor}` } : {})}
      onScroll={(e: Event) => setTop((e.currentTarget as HTMLElement).scrollTop)}
      onKeyDown={keys}
      onFocus={() => cursor < 0 && p.count > 0 && setCursor(0)}
    >
      {p.count === 0 ? <div class="none">{p.empty}</div> : <div class="rows" role="presentation" style={{ height: p.count * row + "px" }}>{rows}</div>}
    </div>
  );
}
