package org.openapitools.jackson.nullable;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.BeanProperty;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.JavaType;
import com.fasterxml.jackson.databind.JsonDeserializer;
import com.fasterxml.jackson.databind.deser.ContextualDeserializer;
import com.fasterxml.jackson.databind.module.SimpleModule;
import java.io.IOException;

/** Reads them; the requests of etcd-rest have none. */
public final class JsonNullableModule extends SimpleModule {
  public JsonNullableModule() {
    addDeserializer(JsonNullable.class, new Deserializer(null));
  }

  @SuppressWarnings("rawtypes")
  private static final class Deserializer extends JsonDeserializer<JsonNullable> implements ContextualDeserializer {
    private final JavaType type;

    private Deserializer(JavaType type) {
      this.type = type;
    }

    @Override
    public JsonDeserializer<?> createContextual(DeserializationContext context, BeanProperty property) {
      return new Deserializer(context.getContextualType().containedType(0));
    }

    @Override
    public JsonNullable deserialize(JsonParser parser, DeserializationContext context) throws IOException {
      return JsonNullable.of(context.readValue(parser, type));
    }

    @Override
    public JsonNullable getNullValue(DeserializationContext context) {
      return JsonNullable.of(null);
    }
  }
}
