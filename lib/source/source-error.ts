/** Owns the failures of a source that the program branches on. */

/**
 * - `NOT_FOUND`: paths that were asked for do not exist.
 * - `BAD_CONFIG`: how to reach the API server is not said, or said in a way that cannot work.
 */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  constructor(
    readonly code: 'NOT_FOUND' | 'BAD_CONFIG',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
