// Data of the api for a page: what is on screen stays until its successor is there.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { isAbort } from "./api";

export interface Loaded<T> {
  /** undefined before the first answer. */
  data: T | undefined;
  error: unknown;
  busy: boolean;
  reload(): void;
}

interface Options {
  /** Seconds between two looks; without it one look is enough. */
  every?: number;
  /** Another key is another filter of the same list: its old rows stay until the new ones come. */
  keep?: boolean;
}

const onScreen = new Set<() => void>();

/** Asks for everything on screen anew, as the key r does; false when there is nothing to ask for. */
export function reloadAll(): boolean {
  onScreen.forEach((f) => f());
  return onScreen.size > 0;
}

/** What get brings for key, which names it; "" asks for nothing. */
export function useLoad<T>(key: string, get: (signal: AbortSignal) => Promise<T>, o: Options = {}): Loaded<T> {
  const data = useSignal<{ key: string; value: T } | null>(null);
  const error = useSignal<unknown>(null);
  const busy = useSignal(false);
  const getter = useRef(get);
  getter.current = get;
  const run = useRef<() => void>(() => {});

  useEffect(() => {
    error.value = null;
    if (key === "") return;
    let loading: AbortController | null = null;
    let at = 0;
    const load = async () => {
      loading?.abort();
      const mine = (loading = new AbortController());
      busy.value = true;
      try {
        const value = await getter.current(mine.signal);
        if (mine.signal.aborted) return;
        data.value = { key, value };
        error.value = null;
      } catch (err) {
        if (!isAbort(err) && loading === mine) error.value = err;
      } finally {
        if (loading === mine) {
          busy.value = false;
          loading = null;
          at = Date.now();
        }
      }
    };
    const reload = () => void load();
    const beat = () => {
      // An answer that is slower than the pace is waited for; nobody looks at a hidden page.
      if (o.every !== undefined && !document.hidden && loading === null && Date.now() - at > o.every * 900) reload();
    };
    run.current = reload;
    onScreen.add(reload);
    reload();
    const timer = o.every === undefined ? 0 : setInterval(beat, o.every * 1000);
    if (o.every !== undefined) document.addEventListener("visibilitychange", beat);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", beat);
      onScreen.delete(reload);
      loading?.abort();
      loading = null;
      busy.value = false;
    };
  }, [key]);

  const there = data.value;
  return {
    data: there && (o.keep || there.key === key) ? there.value : undefined,
    error: error.value, busy: busy.value, reload: () => run.current(),
  };
}
