import { say, t } from "../i18n";

/** What failed, in words, and the way to try again. */
export function Failure({ error, onRetry }: { error: unknown; onRetry(): void }) {
  return (
    <div class="failure" role="alert">
      <span>{say(error)}</span>
      <button type="button" class="link" onClick={onRetry}>
        {t("retry")}
      </button>
    </div>
  );
}
