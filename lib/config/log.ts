/**
 * Owns the vocabulary of logging: what every part is given at construction. `lib/status/logger.ts` implements it.
 *
 *   part -> Log (level, one fact, fields) -> stderr
 */

/** Values that a log line may carry; `err` is logged with its name, code, message and causes. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * One line a fact. A message is a constant sentence; what varies stands in the fields.
 * `warn` and `error` lines of one message and one `key`, `servicePort` or `service` are collapsed into one line with a count
 * (rule H6). `key` serves that alone and is not written.
 */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Says nothing: for pure uses of a part, and for specs. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
