namespace kdspeech {}
