// A change that a person has asked for: under way, done, or refused with a reason.
import { useSignal } from "@preact/signals";
import { ApiError, call, type Options } from "./api";

export interface Write {
  busy: boolean;
  error: unknown;
  /** Runs f, once at a time; true when it has come to its end. */
  run(f: () => Promise<unknown>): Promise<boolean>;
  clear(): void;
}

export function useWrite(): Write {
  const busy = useSignal(false);
  const error = useSignal<unknown>(null);
  return {
    busy: busy.value,
    error: error.value,
    clear: () => (error.value = null),
    run: async (f) => {
      if (busy.peek()) return false;
      busy.value = true;
      error.value = null;
      try {
        await f();
        return true;
      } catch (err) {
        error.value = err;
        return false;
      } finally {
        busy.value = false;
      }
    },
  };
}

const send = (method: NonNullable<Options["method"]>) => async <T>(path: string, body?: unknown): Promise<T> => (await call<T>(path, { method, body })).data;

/** GET, for the rows alone. */
export const read = async <T>(path: string, signal?: AbortSignal): Promise<T> => (await call<T>(path, signal ? { signal } : {})).data;
export const post = send("POST");
export const put = send("PUT");
export const remove = send("DELETE");

/** Which field an error is about, "" for none. */
export const fieldOf = (err: unknown): string => (err instanceof ApiError ? err.field : "");
